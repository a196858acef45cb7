import { Page } from '../components/Page.tsx';

export function RequestPage() {
  return <Page title="Request">…</Page>;
}
