import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asProblem, call } from "./api";
import { elsewhere } from "./session";
import type { Operation, Problem } from "./types";

export interface Loaded<T> {
  value?: T;
  problem?: Problem;
  reload: () => void;
}

/** useLoaded asks once, again on reload, and each `every` ms while that is set and somebody looks. A failed refresh keeps what was there. */
export function useLoaded<T>(ask: ((signal: AbortSignal) => Promise<T>) | undefined, key: string, every?: (value: T) => number): Loaded<T> {
  const [state, setState] = useState<{ key: string; value?: T; problem?: Problem }>({ key });
  const [turn, setTurn] = useState(0);
  const last = useRef({ ask, every });
  last.current = { ask, every };

  useEffect(() => {
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;

    const look = async () => {
      if (!last.current.ask) return;

      let next = 15_000;

      if (!document.hidden) {
        try {
          const value = await last.current.ask(gone.signal);
          if (gone.signal.aborted) return;
          setState({ key, value });
          next = last.current.every?.(value) ?? 0;
        } catch (e) {
          if (gone.signal.aborted) return;
          setState((s) => ({ key, value: s.key === key ? s.value : undefined, problem: asProblem(e) }));
          next = last.current.every ? 15_000 : 0;
        }
      }

      if (next) timer = setTimeout(look, next);
    };

    void look();

    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, [key, turn]);

  const reload = useCallback(() => setTurn((n) => n + 1), []);

  return { value: state.key === key ? state.value : undefined, problem: state.key === key ? state.problem : undefined, reload };
}

/** usePages asks for a list, as many pages of it as somebody wants to see; another query begins at the first. A page is its list, and a token if there is more. */
export function usePages<T>(route: string, query: Record<string, string | boolean | undefined>, every?: (all: T[]) => number) {
  const key = JSON.stringify([route, query]);
  const [wanted, setWanted] = useState({ key, pages: 1 });
  const pages = wanted.key === key ? wanted.pages : 1;

  const loaded = useLoaded(
    async (signal) => {
      const all: T[] = [];
      let pageToken: string | undefined;

      for (let i = 0; i < pages; i++) {
        const { nextPageToken, ...list } = await call<{ nextPageToken?: string }>(route, { query: { ...query, pageSize: 50, pageToken }, signal });
        all.push(...Object.values(list as Record<string, T[]>).flat());
        pageToken = nextPageToken;
        if (!pageToken) break;
      }

      return { all, more: Boolean(pageToken) };
    },
    `${key} ${pages}`,
    every && (({ all }) => every(all)),
  );

  return { ...loaded, next: () => setWanted({ key, pages: pages + 1 }) };
}

/** useOperation follows an operation: each answer comes as soon as something changed. It goes on through failures until the operation is done. */
export function useOperation(id: string): { operation?: Operation; problem?: Problem; take: (o: Operation) => void } {
  const [state, setState] = useState<{ operation?: Operation; problem?: Problem }>({});
  const [turn, setTurn] = useState(0);

  useEffect(() => {
    const gone = new AbortController();

    const follow = async () => {
      let after: number | undefined;
      let failures = 0;

      for (;;) {
        try {
          const operation = await call<Operation>(`/v1/operations/${id}`, {
            query: after === undefined ? {} : { wait: "25s", after },
            signal: gone.signal,
          });
          if (gone.signal.aborted) return;
          setState({ operation });
          if (operation.done) return;
          after = operation.version;
          failures = 0;
        } catch (e) {
          if (gone.signal.aborted) return;
          const problem = asProblem(e);
          setState((s) => ({ operation: s.operation?.id === id ? s.operation : undefined, problem }));
          if (problem.status === 404 || problem.status === 403) return;
          failures++;
        }

        await new Promise((r) => setTimeout(r, Math.min(15_000, failures * 2_000)));
        if (gone.signal.aborted) return;
      }
    };

    if (id) void follow();

    return () => gone.abort();
  }, [id, turn]);

  const take = useCallback((operation: Operation) => {
    setState({ operation });
    setTurn((n) => n + 1);
  }, []);

  return { operation: state.operation?.id === id ? state.operation : undefined, problem: state.problem, take };
}

/** useTick makes its caller render each second while it is on. */
export function useTick(on: boolean): void {
  const [, set] = useState(0);

  useEffect(() => {
    if (!on) return;

    const timer = setInterval(() => set((n) => n + 1), 1000);

    return () => clearInterval(timer);
  }, [on]);
}

export function useMedia(query: string): boolean {
  const [fits, set] = useState(() => matchMedia(query).matches);

  useEffect(() => {
    const list = matchMedia(query);
    const change = () => set(list.matches);
    change();
    list.addEventListener("change", change);

    return () => list.removeEventListener("change", change);
  }, [query]);

  return fits;
}

/** useTitle names the page, and hands the focus to its heading so that those who do not see it are told. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title}${elsewhere() && ` (tenant ${elsewhere()})`} · Metaflow environments`;
  }, [title]);
}
