import { Page } from '../components/Page.tsx';

export function InboxPage() {
  return <Page title="Inbox">…</Page>;
}
