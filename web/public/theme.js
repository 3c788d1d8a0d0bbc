// Before anything is drawn: the theme and palette that this browser was told to keep.
(function () {
  try {
    var root = document.documentElement;
    var theme = localStorage.getItem("theme");
    var palette = localStorage.getItem("palette");
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
    if (palette === "classic") root.dataset.palette = palette;
  } catch (_) {
    // A browser that keeps nothing follows the system.
  }
})();
