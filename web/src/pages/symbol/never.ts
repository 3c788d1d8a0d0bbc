/** What is not asked for is never answered: a resource that has nothing to fetch yet. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}
