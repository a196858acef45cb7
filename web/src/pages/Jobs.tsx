import { Page } from '../components/Page.tsx';

export function JobsPage() {
  return <Page title="Jobs">Not here yet: use countersign jobs.</Page>;
}
