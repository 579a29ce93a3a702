// The theme: what the system says, unless the person at the screen has chosen; the choice stays in this browser.
(() => {
  const KEY = "flinkrec-theme";
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const chosen = () => localStorage.getItem(KEY) ?? "system";
  const apply = () => {
    const theme = chosen();
    setDark(theme === "system" ? null : theme === "dark");
    const button = document.getElementById("theme");
    button.textContent = `Theme: ${theme}`;
    button.onclick = () => {
      localStorage.setItem(KEY, NEXT[chosen()]);
      apply();
    };
  };
  // scripts put the page together: the button is there after them
  const waiting = new MutationObserver(() => {
    if (document.getElementById("theme")) {
      waiting.disconnect();
      apply();
    }
  });
  document.addEventListener("DOMContentLoaded", () => waiting.observe(document.body, { childList: true, subtree: true }));
})();
