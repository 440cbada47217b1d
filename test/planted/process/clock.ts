export const clock = (): number => 1;
