// Written by the build of gateway/ui. Path below the root of the UI, hash of the content, content.
&[
    ("assets/config--GiyzdJd.js", "a46ef147818b17e1", include_bytes!("assets/config--GiyzdJd.js")),
    ("assets/index-ezGdPBsS.css", "d92ff91d67da5fa5", include_bytes!("assets/index-ezGdPBsS.css")),
    ("assets/index-uA9_FGY3.js", "357b88eb85c0feef", include_bytes!("assets/index-uA9_FGY3.js")),
    ("assets/look-B6PevNdu.js", "487e50cdf1a9be1e", include_bytes!("assets/look-B6PevNdu.js")),
    ("assets/page-CnsZ1jie.css", "0fd9465202f6dfce", include_bytes!("assets/page-CnsZ1jie.css")),
    ("assets/page-DGOJbygS.js", "f4cae147f962db62", include_bytes!("assets/page-DGOJbygS.js")),
    ("assets/third-party-licenses.txt", "168cc67105f3199a", include_bytes!("assets/third-party-licenses.txt")),
    ("favicon.svg", "fe0455ce6c20e913", include_bytes!("favicon.svg")),
]
