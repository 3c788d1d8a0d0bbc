// Who is signed in: the token, kept for this tab or, when the person asks for it, in this browser. It never stands
// in an address.

const KEY = "token";

function kept(): string | null {
  try {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

class Session {
  /** The token that requests carry; null where the machine may be open without one. */
  token = $state<string | null>(kept());
  /** Whether the server asked for a token, or for another one. */
  refused = $state(false);
  /** Why somebody who was signed in is asked again; empty where nobody was. */
  why = $state("");

  /** Use a token from now on; `keep` remembers it beyond this tab. */
  signIn(token: string, keep: boolean): void {
    this.forget();
    this.token = token;
    this.refused = false;
    this.why = "";
    try {
      (keep ? localStorage : sessionStorage).setItem(KEY, token);
    } catch {
      // A browser that keeps nothing: the token lives as long as this page.
    }
  }

  /** The server does not take the token, or wants one. */
  refuse(): void {
    if (!this.refused && this.token !== null)
      this.why = "You were signed in, but the server does not know your token any more: it was revoked. Sign in with another.";
    this.refused = true;
  }

  signOut(): void {
    this.forget();
    this.why = "";
    this.refused = true;
  }

  private forget(): void {
    this.token = null;
    try {
      sessionStorage.removeItem(KEY);
      localStorage.removeItem(KEY);
    } catch {
      // Nothing was kept.
    }
  }
}

export const session = new Session();
