/** What covers the page: nothing else can be reached while it does. */

/** What comes over everything by itself, or tells of news: it stays within reach. A lost connection is told inside. */
const KEPT = "dialog, [aria-live=polite]";

/**
 * Puts everything out of reach but this element; returns what undoes it. The focus comes into the element where it
 * was outside. A dialog that is opened meanwhile escapes, wherever it stands: browsers see to that.
 */
export function alone(element: HTMLElement): () => void {
  const stilled: Element[] = [];
  for (let inside: Element = element; inside !== document.body && inside.parentElement !== null; inside = inside.parentElement) {
    for (const other of inside.parentElement.children) {
      if (other === inside || other.matches(KEPT) || other.hasAttribute("inert")) continue;
      other.setAttribute("inert", "");
      stilled.push(other);
    }
  }
  element.tabIndex = -1;
  if (!element.contains(document.activeElement)) element.focus({ preventScroll: true });
  return () => {
    element.removeAttribute("tabindex");
    for (const other of stilled) other.removeAttribute("inert");
  };
}
