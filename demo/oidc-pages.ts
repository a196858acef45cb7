/** The pages of the demo's identity provider: plain HTML, no script, nothing loaded from elsewhere. */

const style = `
  body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: #f4f5f7; color: #1d2430; }
  main { max-width: 22rem; margin: 12vh auto; padding: 2rem; background: #fff; border-radius: 8px; border: 1px solid #d9dde3; }
  h1 { font-size: 1.25rem; margin: 0 0 1rem; }
  label { display: block; margin: .75rem 0 .25rem; }
  input[type=text], input[type=password] { width: 100%; box-sizing: border-box; padding: .5rem; font: inherit; border: 1px solid #8a93a3; border-radius: 4px; }
  button { margin-top: 1rem; padding: .5rem 1rem; font: inherit; border: 1px solid #1f5fbf; border-radius: 4px; background: #1f5fbf; color: #fff; cursor: pointer; }
  button.plain { background: #fff; color: #1f5fbf; }
  code { font-size: 1.5rem; letter-spacing: .1em; }
  .problem { color: #a3201d; }
`;

export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body><main>
<h1>${escapeHtml(title)}</h1>
${body}
</main></body>
</html>
`;
}

/** `form` is the provider's own, with its anti-forgery field; its id is `op.deviceInputForm`. */
export function deviceCodePage(form: string, problem: string | undefined): string {
  const text = problem === undefined ? '<p>Enter the code that the command line shows.</p>' : problemText(problem);
  return page(
    'Log in to Countersign',
    `${text}\n${form}\n<button type="submit" form="op.deviceInputForm">Continue</button>`,
  );
}

/** `form` is the provider's own; its id is `op.deviceConfirmForm`. */
export function deviceConfirmPage(form: string, client: string, userCode: string): string {
  return page(
    'Is this your code?',
    `<p><strong>${escapeHtml(client)}</strong> wants to log in as you. Go on only if it shows this code:</p>
<p><code>${escapeHtml(userCode)}</code></p>
${form}
<button type="submit" form="op.deviceConfirmForm">Yes, continue</button>
<button class="plain" type="submit" form="op.deviceConfirmForm" name="abort" value="yes">No</button>`,
  );
}

export function deviceDonePage(): string {
  return page('You are logged in', '<p>You can close this page and go back to the command line.</p>');
}

export function loginPage(action: string, accounts: readonly string[], problem: string | undefined): string {
  const text = problem === undefined ? '' : problemText(problem);
  return page(
    'Who are you?',
    `${text}<form method="post" action="${escapeHtml(action)}">
<label for="account">Account</label>
<input type="text" id="account" name="account" autocomplete="username" autofocus required>
<label for="password">Password</label>
<input type="password" id="password" name="password" autocomplete="current-password" required>
<button type="submit">Log in</button>
</form>
<p>Demo accounts: ${accounts.map(escapeHtml).join(', ')}</p>`,
  );
}

export function problemPage(problem: string): string {
  return page('This did not work', problemText(problem));
}

function problemText(problem: string): string {
  return `<p class="problem" role="alert">${escapeHtml(problem)}</p>`;
}

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
