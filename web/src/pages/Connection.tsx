import { Page } from '../components/Page.tsx';

export function ConnectionPage() {
  return <Page title="Connection">Not here yet: use countersign connection.</Page>;
}
