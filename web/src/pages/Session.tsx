import { Page } from '../components/Page.tsx';

export function SessionPage() {
  return <Page title="Session">Not here yet: use countersign session.</Page>;
}
