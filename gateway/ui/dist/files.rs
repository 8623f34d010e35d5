// Written by the build of gateway/ui. Path below the root of the UI, hash of the content, content.
&[
    ("assets/config-zVMtZK91.js", "3919cd39d7fc7865", include_bytes!("assets/config-zVMtZK91.js")),
    ("assets/index--uVHQh6L.css", "31f007bc82c8a76f", include_bytes!("assets/index--uVHQh6L.css")),
    ("assets/index-liW8Gxpt.js", "e3604daf5172d4b4", include_bytes!("assets/index-liW8Gxpt.js")),
    ("assets/look-CtgeCIm2.js", "5fb6a8fa2a548c4a", include_bytes!("assets/look-CtgeCIm2.js")),
    ("assets/page-CnsZ1jie.css", "0fd9465202f6dfce", include_bytes!("assets/page-CnsZ1jie.css")),
    ("assets/page-CqN-YpWU.js", "b8c35bcd45d17b6a", include_bytes!("assets/page-CqN-YpWU.js")),
    ("assets/third-party-licenses.txt", "168cc67105f3199a", include_bytes!("assets/third-party-licenses.txt")),
    ("favicon.svg", "fe0455ce6c20e913", include_bytes!("favicon.svg")),
]
