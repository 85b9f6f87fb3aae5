// A snapshot from the webcam, which then goes the way of any file.

/** Shows the webcam's button, or why there is none. */
export function makeWebcam(onFile) {
  const open = document.getElementById("webcam");
  const reason = document.getElementById("webcam-reason");
  if (!navigator.mediaDevices?.getUserMedia) {
    reason.textContent = "No webcam here: browsers give it to pages on https or localhost only.";
    reason.hidden = false;
    return;
  }
  open.hidden = false;
  const dialog = document.getElementById("camera");
  const view = document.getElementById("camera-view");
  const take = document.getElementById("camera-take");
  const trouble = document.getElementById("camera-error");

  open.addEventListener("click", async () => {
    trouble.hidden = true;
    dialog.showModal();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 1280 } },
        audio: false,
      });
      if (!dialog.open) return stop(stream); // closed while the browser asked
      view.srcObject = stream;
      await view.play();
      take.disabled = false;
    } catch (error) {
      trouble.textContent =
        error.name === "NotAllowedError"
          ? "The browser did not allow the webcam."
          : "No webcam could be opened.";
      trouble.hidden = false;
    }
    return undefined;
  });
  take.addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = view.videoWidth;
    canvas.height = view.videoHeight;
    canvas.getContext("2d").drawImage(view, 0, 0);
    canvas.toBlob(
      (blob) => {
        const time = new Date().toLocaleTimeString().replaceAll(":", "-");
        onFile(new File([blob], `webcam ${time}.jpg`, { type: "image/jpeg" }));
        dialog.close();
      },
      "image/jpeg",
      0.95,
    );
  });
  document.getElementById("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    take.disabled = true;
    if (view.srcObject) stop(view.srcObject);
    view.srcObject = null;
  });
}

function stop(stream) {
  stream.getTracks().forEach((track) => track.stop());
}
