// Dialogs: the browser's own, which keeps the focus inside and closes with Escape.
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { announce } from "./announce.jsx";
import { Icon } from "./icons.jsx";

/** Where the focus goes: the first field, else the first button, which does no harm. */
const FIRST = ".dialog-body :is(input, select, button)";

export function Dialog({ title, onClose, children }) {
  const element = useRef(null);
  const heading = useId();
  // A dialog that is taken away doesn't give the focus back by itself, and what is undone after the
  // next paint comes too late: the next key would go nowhere.
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    dialog.querySelector(FIRST)?.focus();
    return () => {
      dialog.close();
      before?.focus();
    };
  }, []);
  const close = (event) => {
    event.preventDefault();
    onClose();
  };
  return (
    <dialog ref={element} class="dialog" aria-labelledby={heading} onCancel={close}>
      <header class="dialog-head">
        <h2 id={heading}>{title}</h2>
        <button type="button" class="button is-bare" aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {children}
    </dialog>
  );
}

/**
 * Asks before something is done, and does it: `act` gets the form's fields. What it returns, if
 * anything, is handed to `onDone`.
 */
export function ActionDialog({ title, confirm, danger, act, onClose, onDone, children, isReady = true }) {
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    if (isBusy) return;
    const fields = Object.fromEntries(new FormData(event.currentTarget));
    setBusy(true);
    setProblem(null);
    try {
      onDone(await act(fields));
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit} class="dialog-body">
        {children}
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <div class="dialog-foot">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            class={`button ${danger ? "is-danger" : "is-main"}`}
            disabled={!isReady}
            aria-busy={isBusy}
          >
            {isBusy ? "One moment …" : confirm}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** Shows what is shown this once. It is gone with the dialog. */
export function SecretDialog({ title, secret, explanation, onClose }) {
  return (
    <Dialog title={title} onClose={onClose}>
      <div class="dialog-body">
        <p>{explanation}</p>
        <div class="secret">
          <code data-secret>{secret}</code>
          <CopyButton text={secret} isMain />
        </div>
        <p class="is-quiet">It can't be shown again: copy it before you close this.</p>
        <div class="dialog-foot">
          <button type="button" class="button" onClick={onClose}>
            Done
          </button>
        </div>
      </div>
    </Dialog>
  );
}

export function CopyButton({ text, label = "Copy", isMain = false }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      announce("Copied.", "quietly");
      setTimeout(() => setCopied(false), 2000);
    } catch {
      announce("This browser doesn't let the page copy: select the text and copy it yourself.");
    }
  };
  return (
    <button type="button" class={`button ${isMain ? "is-main" : ""}`} onClick={copy}>
      <Icon name="copy" />
      {isCopied ? "Copied" : label}
    </button>
  );
}
