// Light, dark or as the system has it; remembered in this browser. Runs before the first paint.
(() => {
  const KEY = "dfd-tf.theme";
  const root = document.documentElement;

  function stored() {
    try {
      return localStorage.getItem(KEY) ?? "system";
    } catch {
      return "system"; // storage is switched off
    }
  }

  function apply(theme) {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  apply(stored());
  document.addEventListener("DOMContentLoaded", () => {
    const group = document.getElementById("theme");
    const chosen = group.querySelector(`input[value="${CSS.escape(stored())}"]`);
    (chosen ?? group.querySelector('input[value="system"]')).checked = true;
    group.addEventListener("change", (event) => {
      apply(event.target.value);
      try {
        localStorage.setItem(KEY, event.target.value);
      } catch {
        // not remembered, then
      }
    });
  });
})();
