// Something of the API, asked for again and again while it is looked at.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api.js";

const HIDDEN_PERIOD = 30_000;

/**
 * `{answer, at, problem, refresh}` of `GET /operator/api` + `path`; `at` is when it came, by
 * `performance.now()`. Without a `period` it is asked for once, and when `refresh` is called.
 */
export function usePolled(path, period = null) {
  const [state, setState] = useState({ path, answer: null, at: 0, problem: null });
  const refresh = useRef(async () => {});
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    let timer;
    refresh.current = async () => {
      clearTimeout(timer);
      try {
        const answer = await ask("GET", path, { signal });
        if (!signal.aborted) setState({ path, answer, at: performance.now(), problem: null });
      } catch (problem) {
        // A problem says nothing against what was known before.
        if (!signal.aborted)
          setState((before) => ({
            ...(before.path === path ? before : { path, answer: null, at: 0 }),
            problem,
          }));
      }
      if (period !== null && !signal.aborted) {
        clearTimeout(timer);
        timer = setTimeout(refresh.current, document.hidden ? HIDDEN_PERIOD : period);
      }
    };
    refresh.current();
    const onVisible = () => period !== null && !document.hidden && refresh.current();
    document.addEventListener("visibilitychange", onVisible, { signal });
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [path, period]);
  const again = useCallback(() => refresh.current(), []);
  const known = state.path === path ? state : { answer: null, at: 0, problem: null };
  return { ...known, refresh: again };
}
