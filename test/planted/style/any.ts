// caught by: typescript(no-explicit-any) typescript(no-unsafe-assignment) typescript(no-unsafe-call) typescript(no-unsafe-member-access) typescript(no-unsafe-argument) typescript(no-unsafe-return)
declare const anything: any;

const taken: string = anything;
export const member: unknown = anything.name;
export const called: unknown = anything();
export const passed = Number.parseInt(anything, 10) + taken.length;
export function given(): string {
  return anything;
}
