// What is checked of the JavaScript here, besides its format: mistakes, not taste.
const names = (list) => Object.fromEntries(list.split(" ").map((name) => [name, "readonly"]));

const BROWSER = names(
  "AbortController AbortSignal Blob FormData HashChangeEvent Intl ResizeObserver URL URLSearchParams " +
    "clearInterval clearTimeout document fetch getComputedStyle history location matchMedia navigator " +
    "performance requestAnimationFrame setInterval setTimeout window",
);
const NODE = names("URL clearTimeout console fetch performance process setInterval setTimeout");

const RULES = {
  "array-callback-return": "error",
  "consistent-return": "error",
  eqeqeq: ["error", "always", { null: "ignore" }],
  "no-cond-assign": "error",
  "no-const-assign": "error",
  "no-console": "error",
  "no-debugger": "error",
  "no-dupe-args": "error",
  "no-dupe-else-if": "error",
  "no-dupe-keys": "error",
  "no-duplicate-case": "error",
  "no-eval": "error",
  "no-fallthrough": "error",
  "no-implied-eval": "error",
  "no-restricted-properties": [
    "error",
    ...["innerHTML", "outerHTML", "insertAdjacentHTML", "dangerouslySetInnerHTML"].map((property) => ({
      property,
      message: "Text is shown as text.",
    })),
  ],
  "no-restricted-globals": [
    "error",
    { name: "localStorage", message: "Nothing is kept in the browser." },
    { name: "sessionStorage", message: "Nothing is kept in the browser." },
    { name: "indexedDB", message: "Nothing is kept in the browser." },
  ],
  "no-self-assign": "error",
  "no-self-compare": "error",
  "no-shadow-restricted-names": "error",
  "no-throw-literal": "error",
  "no-undef": "error",
  "no-unreachable": "error",
  "no-unsafe-finally": "error",
  "no-unused-expressions": "error",
  "no-unused-vars": ["error", { args: "after-used", argsIgnorePattern: "^_" }],
  "no-use-before-define": ["error", { functions: false, variables: false }],
  "no-var": "error",
  "prefer-const": "error",
};

const options = (globals, jsx = false) => ({
  ecmaVersion: "latest",
  sourceType: "module",
  globals,
  parserOptions: { ecmaFeatures: { jsx } },
});

export default [
  {
    files: ["console/**/*.js", "console/**/*.jsx"],
    languageOptions: options(BROWSER, true),
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: RULES,
  },
  {
    files: ["src/boundary.js"],
    languageOptions: options(
      names("FixedLengthStream Promise ReadableStream Response clearTimeout scheduler setTimeout"),
    ),
    rules: RULES,
  },
  {
    files: ["tests/clients/console.mjs", "eslint.config.mjs"],
    // What the browser is told to do is written where Node runs.
    languageOptions: options({
      ...NODE,
      ...BROWSER,
      ...names("localStorage sessionStorage indexedDB"),
    }),
    rules: { ...RULES, "no-console": "off", "no-restricted-globals": "off" },
  },
];
