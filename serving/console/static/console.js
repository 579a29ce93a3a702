// The theme: what the system says, unless the person at the screen has chosen; the choice stays in this browser.
(() => {
  const KEY = "flinkrec-theme";
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const chosen = () => (localStorage.getItem(KEY) in NEXT ? localStorage.getItem(KEY) : "system");
  const apply = () => {
    document.documentElement.dataset.theme = chosen(); // console.css writes it on the button
    setDark(chosen() === "system" ? null : chosen() === "dark");
  };
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#theme")) return;
    localStorage.setItem(KEY, NEXT[chosen()]);
    apply();
  });
  // scripts put the page together, some of them before the document counts as loaded: what takes the theme is there once the button is
  const isThere = () => document.getElementById("theme") !== null;
  const waiting = new MutationObserver(() => {
    if (isThere()) {
      waiting.disconnect();
      apply();
    }
  });
  document.addEventListener("DOMContentLoaded", () => {
    if (isThere()) apply();
    else waiting.observe(document.body, { childList: true, subtree: true });
  });
})();
