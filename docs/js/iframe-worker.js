// The search runs in a worker, which browsers refuse to pages opened from a folder (file://): there a hidden frame
// takes its part. The name of this file keeps the plugin "offline" from naming one on another host.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      this.inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      this.frame = frame;
      this.ready = new Promise((resolve, reject) => {
        const script = frame.contentDocument.createElement("script");
        script.src = new URL(url, document.baseURI).href;
        script.onload = resolve;
        script.onerror = () => reject(new Error(`cannot load ${script.src}`));
        frame.contentDocument.body.append(script);
      });
      this.ready.catch((error) => this.dispatchEvent(new ErrorEvent("error", { error, message: error.message })));
    }

    postMessage(data) {
      const deliver = () => {
        const event = new this.inner.MessageEvent("message", { data });
        this.inner.dispatchEvent(event);
        if (this.inner.onmessage) this.inner.onmessage(event);
      };
      this.ready.then(deliver, () => {});
    }

    terminate() {
      this.frame.remove();
    }
  };
  window.Worker = window.IFrameWorker;
}
