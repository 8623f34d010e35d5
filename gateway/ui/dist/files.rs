// Written by the build of gateway/ui. Path below the root of the UI, hash of the content, content.
&[
    ("assets/config-DWCkZeA5.js", "6c634a7297717c92", include_bytes!("assets/config-DWCkZeA5.js")),
    ("assets/index--uVHQh6L.css", "31f007bc82c8a76f", include_bytes!("assets/index--uVHQh6L.css")),
    ("assets/index-CC-SS6UU.js", "bd4788b1903e1e2d", include_bytes!("assets/index-CC-SS6UU.js")),
    ("assets/look-CtgeCIm2.js", "5fb6a8fa2a548c4a", include_bytes!("assets/look-CtgeCIm2.js")),
    ("assets/page-BRwqJhRH.js", "e7a45380c5c4d11b", include_bytes!("assets/page-BRwqJhRH.js")),
    ("assets/page-CnsZ1jie.css", "0fd9465202f6dfce", include_bytes!("assets/page-CnsZ1jie.css")),
    ("assets/third-party-licenses.txt", "168cc67105f3199a", include_bytes!("assets/third-party-licenses.txt")),
    ("favicon.svg", "fe0455ce6c20e913", include_bytes!("favicon.svg")),
]
