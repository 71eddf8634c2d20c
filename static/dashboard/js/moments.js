// Fields of a moment hold UTC; the reader sees and types the time of his own zone, and UTC is sent.

const two = (number) => String(number).padStart(2, "0");
const local = (moment) => `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}T${two(moment.getHours())}:${two(moment.getMinutes())}`;

for (const input of document.querySelectorAll("input[data-utc]")) {
  const moment = new Date(`${input.defaultValue}Z`);
  if (input.defaultValue && !Number.isNaN(moment.getTime())) input.value = local(moment);
  const zone = input.closest(".field").querySelector("[data-zone]");
  if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  input.form.addEventListener("formdata", ({ formData }) => {
    const typed = new Date(input.value); // a time without a zone is of the reader's
    if (!Number.isNaN(typed.getTime())) formData.set(input.name, typed.toISOString());
  });
}
