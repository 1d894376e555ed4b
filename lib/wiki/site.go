package wiki

import (
	"path"
	"strings"
)

// Site is what a dump says about its wiki.
type Site struct {
	Name     string
	Base     string // address of the main page
	Language string // xml:lang of the dump

	namespaces map[string]int // folded name -> number
}

// newSite returns a site that knows the canonical English namespaces and what common languages call files and categories. Those are
// needed for dumps without <siteinfo> and for pages copied between wikis.
func newSite() *Site {
	s := &Site{namespaces: make(map[string]int)}
	for name, number := range canonicalNamespaces {
		s.add(name, number)
	}
	for _, name := range strings.Fields(fileWords) {
		s.add(strings.ReplaceAll(name, "_", " "), 6)
	}
	for _, name := range strings.Fields(categoryWords) {
		s.add(strings.ReplaceAll(name, "_", " "), 14)
	}
	return s
}

// url returns the address of the page with an id, "" for a dump that does not say where its wiki is.
func (s *Site) url(id string) string {
	slash := strings.LastIndexByte(s.Base, '/')
	if slash < 0 {
		return ""
	}
	return s.Base[:slash] + "?curid=" + id
}

// key tells wikis apart.
func (s *Site) key() string { return s.Base }

func (s *Site) add(name string, number int) {
	if name != "" {
		s.namespaces[foldTitle(name)] = number
	}
}

// namespace returns the number of the namespace that a title begins with and whether there is one; a title without is in namespace 0.
func (s *Site) namespace(title string) (number int, ok bool) {
	prefix, _, found := strings.Cut(title, ":")
	if !found || len(prefix) > 120 {
		return 0, false
	}
	number, ok = s.namespaces[foldTitle(prefix)]
	return number, ok
}

// leavesArticles tells whether a link to target goes to another namespace or another wiki, so that it carries no text of the
// article. A target that starts with a colon is such a link too when a namespace follows.
func (s *Site) leavesArticles(target string) bool {
	target = strings.TrimPrefix(strings.TrimSpace(target), ":")
	prefix, _, found := strings.Cut(target, ":")
	if !found {
		return false
	}
	if _, ok := s.namespace(target); ok || fileNames[strings.ToLower(path.Ext(strings.TrimSpace(target)))] {
		return true
	}
	return isInterwiki(strings.TrimSpace(prefix))
}

// isInterwiki tells whether a link's prefix names another wiki: a sister project, or a language code as written in links ("de",
// "zh-min-nan"). Prefixes of Wiktionary are not among them: links there stand inside sentences and keep their text.
func isInterwiki(prefix string) bool {
	if sisterProjects[prefix] {
		return true
	}
	first, rest, _ := strings.Cut(prefix, "-")
	if len(first) < 2 || len(first) > 3 {
		return false
	}
	for _, c := range first + rest {
		if (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return true
}

// foldTitle makes names comparable: case, underscores and surrounding blanks do not count.
func foldTitle(name string) string {
	return strings.ToLower(strings.TrimSpace(strings.ReplaceAll(name, "_", " ")))
}

var canonicalNamespaces = map[string]int{
	"Media": -2, "Special": -1, "Talk": 1, "User": 2, "User talk": 3, "Project": 4, "Project talk": 5, "Wikipedia": 4, "WP": 4, "Wikipedia talk": 5,
	"File": 6, "File talk": 7, "Image": 6, "Image talk": 7, "MediaWiki": 8, "MediaWiki talk": 9, "Template": 10, "Template talk": 11,
	"Help": 12, "Help talk": 13, "Category": 14, "Category talk": 15, "Portal": 100, "Portal talk": 101, "Draft": 118, "Draft talk": 119,
	"TimedText": 710, "TimedText talk": 711, "Module": 828, "Module talk": 829,
}

var sisterProjects = map[string]bool{
	"wikibooks": true, "b": true, "wikinews": true, "n": true, "wikiquote": true, "q": true, "wikisource": true, "s": true,
	"wikispecies": true, "species": true, "wikiversity": true, "v": true, "wikivoyage": true, "voy": true, "commons": true, "c": true,
	"wikidata": true, "d": true, "meta": true, "m": true, "mw": true, "simple": true, "wikipedia": true,
	"phabricator": true, "bugzilla": true, "mediazilla": true, "toollabs": true, "wmf": true, "foundation": true, "incubator": true,
}

// fileNames are suffixes that tell a file link whatever the language calls its namespace.
var fileNames = map[string]bool{".jpg": true, ".jpeg": true, ".png": true, ".gif": true, ".svg": true, ".tif": true, ".tiff": true, ".webp": true,
	".ogg": true, ".oga": true, ".ogv": true, ".webm": true, ".mp3": true, ".wav": true, ".mid": true, ".pdf": true, ".djvu": true}

const fileWords = `Datei Bild Fichier Archivo Imagen Immagine Ficheiro Imagem Arquivo Bestand Afbeelding Plik Grafika Fitxer Imatge Fil Billede
Tiedosto Kuva Soubor Súbor Kép Fájl Fișier Imagine Dosya Resim Berkas Gambar Tập_tin Hình Datoteka Slika Fails Attēls Vaizdas Failas Pilt Fasciculus
Imago Irudi Fitxategi Fichièr Файл Изображение Картинка Зображення Слика Датотека Выява Εικόνα Αρχείο ファイル 画像 文件 档案 檔案 图像 圖像 파일 그림
ملف صورة پرونده تصویر קובץ תמונה चित्र ไฟล์ ภาพ Mynd Íomhá Delwedd Skrá Dosiero`

const categoryWords = `Kategorie Catégorie Categoría Categoria Categorie Kategoria Kategori Kategorija Kategória Luokka Kategooria Kategorio Catagóir Thể_loại
Categoría Kategoreja Категория Категорія Категорија Катэгорыя Κατηγορία カテゴリ 分类 分類 분류 تصنيف رده קטגוריה श्रेणी หมวดหมู่ Flokkur Kategoriija`
