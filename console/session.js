// Who is signed in.
import * as api from "./api.js";
import { createStore } from "./store.js";

/** `standing` is `asking`, `out` or `in`; where Cloudflare Access lets the operator in, nobody signs out. */
export const session = createStore({ standing: "asking", operator: null, expiresAt: null, problem: null });

api.whenSignedOut(() => {
  if (session.get().standing === "in") {
    session.set({
      standing: "out",
      problem: "Your sign-in has ended. Sign in again to go on where you were.",
    });
  }
});

/** Finds out who is signed in. */
export async function open() {
  try {
    const { operator, expires_at: expiresAt } = await api.session();
    session.set({ standing: "in", operator, expiresAt, problem: null });
  } catch (problem) {
    if (problem.status === 401) {
      session.set({ standing: "out", problem: session.get().problem });
    } else {
      session.set({ standing: "out", problem: problem.message });
    }
  }
}

/** Signs in with the operator's token, which is kept nowhere. */
export async function signIn(token) {
  await api.signIn(token);
  session.set({ problem: null });
  await open();
}

export async function signOut() {
  await api.signOut();
  session.set({ standing: "out", operator: null, expiresAt: null, problem: null });
}
