import { Page } from '../components/Page.tsx';

export function RunPage() {
  return <Page title="Run">Not here yet: use countersign run.</Page>;
}
