// Where it begins: styles, preferences, the frame.
import { render } from 'preact';
import './styles/base.css';
import './styles/frame.css';
import './styles/query.css';
import './styles/pages.css';
import { App } from './app';
import './lib/settings';

const root = document.getElementById('app');
if (root) render(<App />, root);
