// caught by: typescript(switch-exhaustiveness-check)
export function word(kind: 'a' | 'b'): string {
  switch (kind) {
    case 'a':
      return 'one';
  }
  return 'other';
}
