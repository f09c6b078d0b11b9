"""S/MIME (RFC 8551): opening encrypted mails and checking signatures. From bytes to bytes, without network and files.

``outcome`` is what is told of it, ``opening`` takes a mail apart layer by layer, ``decrypting`` and ``verifying`` read
one layer each, ``chain`` decides whether a signer's certificate is believed. Only ``outcome`` is light to import.
"""
