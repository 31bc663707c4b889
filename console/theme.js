// Light, dark, or as the system says. Nothing of it is kept: a page that is opened again asks the system.
import { createStore } from "./store.js";

const NEXT = { system: "light", light: "dark", dark: "system" };
const media = matchMedia("(prefers-color-scheme: dark)");

export const theme = createStore({ chosen: "system", isDark: media.matches });

export function switchTheme() {
  const chosen = NEXT[theme.get().chosen];
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  theme.set({ chosen, isDark: chosen === "system" ? media.matches : chosen === "dark" });
}

media.addEventListener("change", () => {
  const { chosen } = theme.get();
  if (chosen === "system") theme.set({ isDark: media.matches });
});

/** The colour that a property of the style sheet stands for right now. */
export function colorOf(property) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
