import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mailText, oneLine, slackBody, teamsBody, webhookBody, type Message } from './message.ts';

const hostile = '<!channel> <https://evil.test|click> *b* [x](https://evil.test) <script>alert(1)</script> "\' &';

const message: Message = {
  event: 'request.created',
  at: '2026-01-02T03:04:05.000Z',
  headline: 'A statement request waits for a decision',
  facts: [['What', hostile]],
  link: 'https://countersign.example.com/requests/req_1',
  statement: "select '…' from <t>",
  data: { request: 'req_1', title: hostile },
};

void describe('a message', () => {
  it('to a webhook is an event with its data', () => {
    assert.deepEqual(JSON.parse(webhookBody(message)), {
      type: 'request.created',
      timestamp: message.at,
      data: { request: 'req_1', title: hostile, link: message.link, statement: message.statement },
    });
  });

  it('to Slack mentions nobody and links only to the request', () => {
    const body = slackBody(message);
    assert.doesNotMatch(body, /[<>]/);
    const { blocks } = JSON.parse(body) as {
      blocks: { type: string; text?: { type: string }; fields?: { type: string }[]; elements?: { url: string }[] }[];
    };
    const texts = blocks.flatMap((block) => [
      ...(block.fields ?? []),
      ...(block.text === undefined ? [] : [block.text]),
    ]);
    assert.ok(texts.every((text) => text.type === 'plain_text'));
    assert.deepEqual(
      blocks.flatMap((block) => block.elements ?? []).map(({ url }) => url),
      [message.link],
    );
  });

  it('to Teams reads no Markdown and links only to the request', () => {
    const card = (
      JSON.parse(teamsBody(message)) as {
        attachments: { content: { body: { type: string; inlines: { type: string }[] }[]; actions: object[] } }[];
      }
    ).attachments[0]?.content;
    assert.ok(card !== undefined);
    assert.ok(
      card.body.every(
        (block) => block.type === 'RichTextBlock' && block.inlines.every((one) => one.type === 'TextRun'),
      ),
    );
    assert.deepEqual(card.actions, [{ type: 'Action.OpenUrl', title: 'Open', url: message.link }]);
  });

  it('by mail has no markup but its own, and one line as its subject', () => {
    const { html, text, subject } = mailText({ ...message, headline: 'one\r\nBcc: eve@evil.test' });
    assert.doesNotMatch(html, /<script|<!channel|<https|<t>/);
    assert.deepEqual(
      [...html.matchAll(/href="([^"]*)"/g)].map(([, href]) => href),
      [message.link],
    );
    assert.ok(text.includes(message.link ?? 'no link'));
    assert.equal(subject, 'one Bcc: eve@evil.test');
  });

  it('has names that steer nothing', () => {
    assert.equal(oneLine('a\u202eb\u0007c\u2028d\ud800'), 'a b c d\ufffd');
    assert.equal(oneLine('x'.repeat(500)).length, 300);
  });
});
