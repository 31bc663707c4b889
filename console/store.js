// A value that components watch.
import { useEffect, useState } from "preact/hooks";

export function createStore(initial) {
  let value = initial;
  const watchers = new Set();
  return {
    get: () => value,
    set(change) {
      value = { ...value, ...change };
      for (const watch of watchers) watch(value);
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

/** What `select` makes of the store's value; the component is drawn again when that changes. */
export function useStore(store, select = (value) => value) {
  const [selected, setSelected] = useState(() => select(store.get()));
  useEffect(() => {
    const update = (value) => setSelected(() => select(value));
    update(store.get());
    return store.watch(update);
    // What is selected never depends on the component.
  }, [store]);
  return selected;
}
