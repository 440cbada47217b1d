// caught by: eslint(eqeqeq)
export const isSame = (a: unknown, b: unknown): boolean => a == b;
