// What the frame of the page itself needs: it comes with the first view, and nothing else should.
export { default as Badge } from "./Badge.svelte";
export { default as Delta } from "./Delta.svelte";
export { default as Dialog } from "./Dialog.svelte";
export { default as Empty } from "./Empty.svelte";
export { default as Icon, type IconName } from "./Icon.svelte";
export { default as Light } from "./Light.svelte";
export { default as Popover } from "./Popover.svelte";
export { default as Skeleton } from "./Skeleton.svelte";
export { default as Sparkline } from "./Sparkline.svelte";
export { default as Tabs } from "./Tabs.svelte";
export { default as Toasts } from "./Toasts.svelte";
export { default as Trouble } from "./Trouble.svelte";
