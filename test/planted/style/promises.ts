// caught by: typescript(no-floating-promises) typescript(no-misused-promises) typescript(return-await) promise(no-multiple-resolved)
async function later(): Promise<boolean> {
  return await new Promise((resolve) => {
    resolve(true);
    resolve(false);
  });
}

export async function hurried(): Promise<boolean> {
  later();
  if (later()) return true;
  return later();
}
