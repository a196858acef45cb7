/**
 * What a message says: who did what, where, and where to look. Texts of people and names of relations are in it, so each
 * format has to escape them; values of tables, literals of statements and comments never are.
 */
import type { NotificationEvent } from '../config/review-settings.ts';

export interface Message {
  readonly event: NotificationEvent | 'test';
  /** ISO 8601: when it happened. */
  readonly at: string;
  /** One line, in our own words. */
  readonly headline: string;
  /** Name and value, for people. */
  readonly facts: readonly (readonly [string, string])[];
  /** Where to look: an address of the page. */
  readonly link: string | undefined;
  /** Without literals. */
  readonly statement: string | undefined;
  /** For programs. */
  readonly data: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
}

const maxFact = 300;

/** Control and format characters could end a header, a line or the direction of writing. */
export function oneLine(text: string): string {
  const plain = text
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
  return plain.length <= maxFact ? plain : `${plain.slice(0, maxFact - 1)}…`;
}

/** A body as Standard Webhooks has it. */
export function webhookBody({ event, at, data, link, statement }: Message): string {
  return JSON.stringify({ type: event, timestamp: at, data: { ...data, link, statement } });
}

// ---- Slack: blocks (docs.slack.dev/reference/block-kit) ----

/** Slack reads `<…>` as links and mentions, in every kind of text. */
function slackText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

export function slackBody({ headline, facts, link, statement }: Message): string {
  // `plain_text` has no formatting of its own.
  const plain = (text: string) => ({ type: 'plain_text', text: slackText(text), emoji: false });
  const blocks: object[] = [{ type: 'header', text: plain(headline.slice(0, 150)) }];
  if (facts.length > 0) {
    const fields = facts.slice(0, 10).map(([name, value]) => plain(`${name}: ${value}`));
    blocks.push({ type: 'section', fields });
  }
  if (statement !== undefined) blocks.push({ type: 'section', text: plain(statement) });
  if (link !== undefined) {
    blocks.push({ type: 'actions', elements: [{ type: 'button', text: plain('Open'), url: link }] });
  }
  return JSON.stringify({ text: slackText(headline), blocks, unfurl_links: false, unfurl_media: false });
}

// ---- Teams: an Adaptive Card (adaptivecards.io, version 1.4) in a message ----

export function teamsBody({ headline, facts, link, statement }: Message): string {
  // A TextBlock reads Markdown, a TextRun does not.
  const run = (text: string, more: object = {}) => ({ type: 'TextRun', text, ...more });
  const line = (inlines: readonly object[]) => ({ type: 'RichTextBlock', inlines });
  const body: object[] = [line([run(headline, { weight: 'Bolder', size: 'Medium' })])];
  for (const [name, value] of facts) body.push(line([run(`${name}: `, { weight: 'Bolder' }), run(value)]));
  if (statement !== undefined) body.push(line([run(statement, { fontType: 'Monospace' })]));
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body,
    actions: link === undefined ? [] : [{ type: 'Action.OpenUrl', title: 'Open', url: link }],
  };
  const attachment = { contentType: 'application/vnd.microsoft.card.adaptive', contentUrl: null, content };
  return JSON.stringify({ type: 'message', attachments: [attachment] });
}

// ---- e-mail ----

export interface MailText {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

export function mailText({ headline, facts, link, statement }: Message): MailText {
  const rows = facts.map(([name, value]) => `<tr><th align="left">${html(name)}</th><td>${html(value)}</td></tr>`);
  return {
    subject: oneLine(headline),
    text: [
      headline,
      '',
      ...facts.map(([name, value]) => `${name}: ${value}`),
      ...(statement === undefined ? [] : ['', statement]),
      ...(link === undefined ? [] : ['', link]),
      '',
    ].join('\n'),
    html: [
      `<p><strong>${html(headline)}</strong></p>`,
      `<table>${rows.join('')}</table>`,
      ...(statement === undefined ? [] : [`<pre>${html(statement)}</pre>`]),
      ...(link === undefined ? [] : [`<p><a href="${html(link)}">${html(link)}</a></p>`]),
    ].join('\n'),
  };
}

function html(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
