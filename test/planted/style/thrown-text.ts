// caught by: eslint(no-throw-literal) typescript(only-throw-error)
export function refuse(): void {
  throw 'no';
}
