import { Page } from '../components/Page.tsx';

export function MaskingPage() {
  return <Page title="Masking">Not here yet: use countersign masking.</Page>;
}
