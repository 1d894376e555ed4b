# Writes vocab.txt: letters, so that words have many pieces, and some words.
letters = "abcdefghijklmnopqrstuvwxyz0123456789éσςßαи中"
words = ("the of in and was a to is for on born steve smith cafe physicist who when where what name city king river queen empty answer " 
         "ing ed er est un re church tower built year war won lost").split()
signs = "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~–—“”’…"
tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(signs) + list(letters) + ["##" + c for c in letters] + [w for w in words if len(w) > 1]
tokens += ["##s", "##ing", "##ed", "##er"][1:]
print("\n".join(dict.fromkeys(tokens)))
