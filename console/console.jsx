document.querySelector("#console").textContent="x"
