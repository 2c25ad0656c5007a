// The linter of the style sheet of the page.
export default {
  extends: "stylelint-config-standard",
  rules: {
    // Rules for one screen size come last, whatever their selectors.
    "no-descending-specificity": null,
    // Nothing is loaded from elsewhere.
    "function-url-no-scheme-relative": true,
    "function-url-scheme-allowed-list": [],
    "declaration-no-important": [true, { severity: "error" }],
  },
};
