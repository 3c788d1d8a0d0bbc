/** The one way to a command: ask for it, read what it would do, confirm, and be told what came of it. */

import { mount, unmount, type Component } from "svelte";

import type { CommandKind, ConfigurationPreview } from "../api/types";
import CommandDialog from "./CommandDialog.svelte";
import ConfigurationDialog from "./ConfigurationDialog.svelte";
import WithdrawDialog from "./WithdrawDialog.svelte";
import type { Arguments } from "./wording";

let open: Record<string, unknown> | undefined;

/** Open the confirmation of a command. It says what the command would do; nothing is sent before it is confirmed. */
export function askCommand(kind: CommandKind, of: Arguments = {}): void {
  show(CommandDialog, { kind, of });
}

/** What was looked at of another configuration, and the account that it was looked at for. */
export interface Looked {
  account: string;
  toml: string;
  preview: ConfigurationPreview;
}

/** Open the confirmation of a configuration whose changes were looked at; `given` is called once it was sent. */
export function askConfiguration(looked: Looked, given: () => void): void {
  show(ConfigurationDialog, { ...looked, ongiven: given });
}

/** A command that waits for its minute: its number, what it is in words, and what it waits for. */
export interface Waiting {
  number: string;
  words: string;
  sentence: string;
}

/** Open the confirmation that takes back a command of an account which waits for its minute. */
export function askWithdrawal(account: string, command: Waiting): void {
  show(WithdrawDialog, { account, ...command });
}

/** One dialog at a time, over everything; the focus returns to where it was. */
function show<P extends object>(dialog: Component<P & { onclose: () => void }>, props: P): void {
  if (open !== undefined) return;
  const before = document.activeElement;
  const shown = mount(dialog, {
    target: document.body,
    props: {
      ...props,
      onclose: () => {
        if (open !== shown) return;
        open = undefined;
        void unmount(shown);
        if (before instanceof HTMLElement && before.isConnected) before.focus();
      },
    },
  });
  open = shown;
}
