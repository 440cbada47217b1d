// caught by: eslint(no-eval)
export function run(text: string): void {
  eval(text);
}
