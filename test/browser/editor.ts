import type { Locator } from 'playwright-core';

/** As somebody pastes it. What a driver fills in goes around the editor, and the browser makes style attributes of it. */
export async function replaceText(editor: Locator, text: string): Promise<void> {
  await editor.focus();
  await editor.press('Control+a');
  await editor.page().evaluate(`
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', ${JSON.stringify(text)});
    document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));`);
}
