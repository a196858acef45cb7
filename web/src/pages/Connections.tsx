import { Page } from '../components/Page.tsx';

export function ConnectionsPage() {
  return <Page title="Connections">Not here yet: use countersign connections.</Page>;
}
