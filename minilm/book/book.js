"use strict";

// A formula and the lines that compute it carry the same ids in data-links; pointing at one lights all of them.
const tied = new Map();
for (const element of document.querySelectorAll("[data-links]")) {
    for (const id of element.dataset.links.split(" ")) {
        if (!tied.has(id)) tied.set(id, []);
        tied.get(id).push(element);
    }
}
function light(element, on) {
    for (const id of element.dataset.links.split(" ")) {
        for (const other of tied.get(id)) other.classList.toggle("lit", on);
    }
}
for (const element of document.querySelectorAll("[data-links]")) {
    element.addEventListener("mouseenter", () => light(element, true));
    element.addEventListener("mouseleave", () => light(element, false));
    element.addEventListener("focus", () => light(element, true));
    element.addEventListener("blur", () => light(element, false));
    element.addEventListener("click", (event) => {
        event.preventDefault();
        const wanted = element.classList.contains("line") ? ".formula" : ".line";
        for (const id of element.dataset.links.split(" ")) {
            const partner = tied.get(id).find((other) => other.matches(wanted) && other.offsetParent !== null);
            if (partner) return partner.scrollIntoView({ block: "center", behavior: "smooth" });
        }
    });
}

// Tabs, by mouse and by arrow keys.
for (const list of document.querySelectorAll("[role=tablist]")) {
    const tabs = [...list.querySelectorAll("[role=tab]")];
    const show = (chosen) => {
        for (const tab of tabs) {
            tab.setAttribute("aria-selected", String(tab === chosen));
            document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
        }
    };
    tabs.forEach((tab, place) => {
        tab.addEventListener("click", () => show(tab));
        tab.addEventListener("keydown", (event) => {
            const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
            if (!step) return;
            const next = tabs[(place + step + tabs.length) % tabs.length];
            show(next);
            next.focus();
        });
    });
}

// Versions of a kernel: lines of the others are hidden, and files that have no line left; those of no version stay.
for (const choice of document.querySelectorAll(".versions select")) {
    choice.addEventListener("change", () => {
        const panel = choice.closest("[role=tabpanel]");
        for (const line of panel.querySelectorAll(".line[data-version]")) {
            line.hidden = choice.value !== "" && line.dataset.version !== choice.value;
        }
        for (const code of panel.querySelectorAll("pre.code")) {
            code.hidden = !code.querySelector(".line:not([hidden])");
            code.previousElementSibling.hidden = code.hidden;
        }
    });
}

// The chapters on a narrow screen.
const menu = document.getElementById("menu");
menu.addEventListener("click", () => {
    const open = document.getElementById("chapters").classList.toggle("open");
    menu.setAttribute("aria-expanded", String(open));
});

// Search: every word must be there; whole words and headings first.
const field = document.getElementById("search");
const results = document.getElementById("results");
field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    results.replaceChildren();
    results.hidden = words.length === 0;
    const hits = [];
    for (const entry of words.length ? BOOK : []) {
        const text = entry.text.toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
        const whole = words.filter((word) => new RegExp(`(^|\\W)${word.replace(/[^\w]/g, "\\$&")}(\\W|$)`).test(text)).length;
        hits.push([whole - text.length / 1000, entry]);
    }
    hits.sort((a, b) => b[0] - a[0]);
    for (const [, entry] of hits.slice(0, 20)) {
        const link = document.createElement("a");
        link.href = entry.at;
        link.textContent = entry.text.length > 160 ? entry.text.slice(0, 160) + " ..." : entry.text;
        const where = document.createElement("small");
        where.textContent = entry.in;
        link.prepend(where);
        const item = document.createElement("li");
        item.append(link);
        results.append(item);
    }
    if (words.length && !hits.length) results.textContent = "Nothing of that in the book.";
});
document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") results.hidden = true;
    if (event.key === "/" && document.activeElement !== field) {
        event.preventDefault();
        field.focus();
    }
});
