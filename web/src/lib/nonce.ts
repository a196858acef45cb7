/** The nonce of this page's Content-Security-Policy, for style elements that libraries make at run time. */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? '';
}
