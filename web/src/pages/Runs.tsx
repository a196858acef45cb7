import { Page } from '../components/Page.tsx';

export function RunsPage() {
  return <Page title="Runs">Not here yet: use countersign runs.</Page>;
}
