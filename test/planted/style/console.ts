// caught by: eslint(no-console)
export function report(): void {
  console.log('to nobody in particular');
}
