/** The mark of the product: two lines of a definition, and the sign beside them. */
export function Seal({ size = 28 }: { readonly size?: number }) {
  return (
    <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden focusable="false">
      <rect width="32" height="32" rx="8" fill="#0b6552" />
      <path d="M7 11.5h12M7 17h7" stroke="#b0d9d0" strokeWidth="2.4" strokeLinecap="round" />
      <path
        d="m15.5 20.5 4 4 7-9"
        fill="none"
        stroke="#fff"
        strokeWidth="2.8"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
