// caught by: typescript(await-thenable) unicorn(no-unnecessary-await)
export async function wait(): Promise<number> {
  const one = await 1;
  return one;
}
