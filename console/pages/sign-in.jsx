// Signing in. Under Cloudflare Access nobody comes here.
import { useEffect, useRef, useState } from "preact/hooks";
import { session, signIn } from "../session.js";
import { useStore } from "../store.js";

const PROBLEMS = {
  operator_required:
    "This isn't the operator's token. Compare it with OPERATOR_TOKEN, whole and without spaces.",
};

export function SignInPage() {
  const { problem: reason } = useStore(session);
  const field = useRef(null);
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    document.title = "Sign in";
    field.current.focus();
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    const token = field.current.value.trim();
    if (isBusy || !token) return;
    setBusy(true);
    try {
      await signIn(token);
    } catch (error) {
      setProblem(PROBLEMS[error.code] ?? error.message);
      setBusy(false);
      field.current.select();
    }
  };
  return (
    <main class="sign-in">
      <form onSubmit={submit}>
        <img src="/operator/assets/icon.svg" alt="" width="44" height="44" />
        <h1>The operator’s console</h1>
        {reason && !problem && <p class="is-quiet">{reason}</p>}
        <input type="text" name="username" autocomplete="username" value="operator" readOnly hidden />
        <label class="field">
          Operator’s token
          <input
            ref={field}
            type="password"
            name="password"
            autocomplete="current-password"
            autocapitalize="none"
            spellcheck={false}
            required
            aria-invalid={problem ? true : undefined}
            aria-describedby={problem ? "sign-in-problem" : undefined}
          />
        </label>
        <p class="problem" role="alert" id="sign-in-problem">
          {problem}
        </p>
        <button type="submit" class="button is-main is-wide" aria-busy={isBusy}>
          {isBusy ? "One moment …" : "Sign in"}
        </button>
        <p class="is-quiet is-small">
          It is the secret OPERATOR_TOKEN; <code>cargo xtask serve</code> prints it. It isn’t kept in this
          browser: a sign-in lasts twelve hours.
        </p>
      </form>
    </main>
  );
}
