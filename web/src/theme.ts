/** Colours and shapes of the page. Both colour schemes keep a contrast of at least 4.5 : 1 for text. */
import { createTheme, Loader, Modal, Notification, type MantineColorsTuple } from '@mantine/core';

/** The seal: what can be pressed, and what is approved. */
const seal: MantineColorsTuple = [
  '#edf7f4',
  '#d9ece7',
  '#b0d9d0',
  '#84c5b7',
  '#62b5a4',
  '#47a794',
  '#2f9481',
  '#1f806d',
  '#13735f',
  '#0b6552',
];

export const theme = createTheme({
  primaryColor: 'seal',
  primaryShade: { light: 9, dark: 8 },
  colors: { seal },
  defaultRadius: 'md',
  fontFamily: 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, monospace',
  headings: { fontWeight: '650', sizes: { h1: { fontSize: '1.5rem', lineHeight: '1.25' } } },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    // Its name is only allowed on what has a role.
    Loader: Loader.extend({ defaultProps: { role: 'status' } }),
    // What locks the scrolling makes a style element without this page's nonce.
    Modal: Modal.extend({ defaultProps: { lockScroll: false, closeButtonProps: { 'aria-label': 'Close' } } }),
    Notification: Notification.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } }),
  },
});
